-- A controller that does what a ConfigMap's data asks for.
local kept

-- Takes the processor for some turns: neap.microtime is the test's clock and stands still.
local function work(rounds)
  local x = 0
  for i = 1, rounds do
    x = x + i % 7
  end
  return x
end

local function endless()
  while true do
  end
end

local function done(ns, name, text)
  neap.patch("v1/configmaps", ns, name, { metadata = { labels = { done = text } } })
end

return neap.controller {
  name = "engine", for_ = "v1/configmaps", concurrency = 2,
  reconcile = function(ns, name)
    local cm = neap.get("v1/configmaps", ns, name)
    local what = cm and cm.data and cm.data["do"]
    if what == "endless" then
      while true do
        pcall(function()
          while true do
          end
        end)
      end
    elseif what == "close" then
      local _ <close> = setmetatable({}, { __close = endless })
      error("first")
    elseif what == "table" then
      error({ code = 1 })
    elseif what == "long" then
      done(ns, name, tostring(work(tonumber(cm.data.rounds))))
    elseif what == "sort" then
      local list = {}
      for i = 1, 300 do
        list[i] = (i * 7919) % 307
      end
      table.sort(list, function(a, b)
        work(tonumber(cm.data.rounds) // 1000)
        return a < b
      end)
      done(ns, name, tostring(list[1]))
    elseif what == "inner" then
      local inner, n = {}, 0
      for i, o in ipairs(neap.list("v1/configmaps", { namespace = ns })) do
        inner[i] = o.metadata
      end
      for _, m in ipairs(inner) do
        n = n + #m.name
      end
      done(ns, name, tostring(n))
    elseif what == "frozen" then
      cm.data.x = "y"
    elseif what == "keep" then
      kept = cm
    elseif what == "kept" then
      return kept.data and 1
    elseif what == "count" then
      -- a Secret a minute, three of them; the patch is not seen: the snapshot is the one that the sync began with
      local made = #neap.list("v1/secrets", { namespace = ns })
      if made < 3 and neap.now() >= made * 60 + tonumber(cm.data.start) then
        neap.patch("v1/configmaps", ns, name, { data = { n = "patched" .. made } })
        local seen = neap.get("v1/configmaps", ns, name).data.n
        neap.create("v1/secrets", ns, { metadata = { name = "at-" .. made, labels = { seen = seen } } })
      end
      return 60
    elseif what == "refused" then
      local o, err = neap.create("v1/configmaps", ns, { metadata = { name = "Not A Name" } })
      error(("%s %s %d"):format(tostring(o), err.reason, err.code), 0)
    end
  end,
}
