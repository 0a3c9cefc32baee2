-- What a test gets as t: words for the world of core/world_lua.c. scripts/README.md has the table of them.
-- Every write waits until the controllers have come to rest.

local function path_of(file, text, folder, scripts)
  if not text:find("/", 1, true) and not text:find("%.lua$") then
    return scripts .. "/" .. folder .. "/" .. text .. ".lua" -- one of neap's own, by name
  end
  return text:sub(1, 1) == "/" and text or (file:match("^(.*/)[^/]*$") or "") .. text
end

local function show(v)
  if type(v) ~= "table" then
    return type(v) == "string" and ("%q"):format(v) or tostring(v)
  end
  local keys, out = {}, {}
  for k in pairs(v) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, k in ipairs(keys) do
    out[#out + 1] = (#v > 0 and "" or tostring(k) .. "=") .. show(v[k])
  end
  return "{" .. table.concat(out, ", ") .. "}"
end

-- What <want> says is in <have>; more may be there.
local function contains(have, want)
  if type(want) ~= "table" then
    return have == want
  end
  if type(have) ~= "table" then
    return false
  end
  for k, v in pairs(want) do
    if not contains(have[k], v) then
      return false
    end
  end
  return true
end

return function(world, file)
  local t = {}

  local function resource_of(o)
    return neap.resource(o.apiVersion, o.kind)
      or error(("no kind %s %s"):format(tostring(o.apiVersion), tostring(o.kind)), 3)
  end

  -- Where an object of this kind lives when nothing is said.
  local cluster = {}
  for _, k in ipairs(neap.kinds()) do
    cluster[k.kind] = not k.namespaced
  end

  local function place(resource, o)
    return not cluster[resource] and (o.metadata.namespace or "default") or nil
  end

  local function write(verb, resource, ns, name, sub, body, options)
    local o, err = world.request(verb, resource, ns, name, sub, body, options)
    world.settle()
    return o, err
  end

  -- ---- writes: the object, or nil and {code, reason, message} ----
  t.try = {}

  function t.try.create(o, options)
    local r = resource_of(o)
    return write("create", r, place(r, o), nil, nil, o, options)
  end

  function t.try.update(o, sub)
    local r = resource_of(o)
    return write("update", r, place(r, o), o.metadata.name, sub, o)
  end

  function t.try.patch(resource, ns, name, patch, sub)
    return write("patch", resource, ns, name, sub, patch)
  end

  function t.try.delete(resource, ns, name, options)
    return write("delete", resource, ns, name, nil, nil, options)
  end

  -- The same, raising what was refused.
  for verb, f in pairs(t.try) do
    t[verb] = function(_, ...)
      local o, err = f(...)
      if not o then
        error(("%s: %s: %s"):format(verb, err.reason, err.message), 2)
      end
      return o
    end
    t.try[verb] = function(_, ...)
      return f(...)
    end
  end

  -- Refused with a message that holds <text>.
  function t:refused(text, o)
    local made, err = self.try:create(o)
    if made then
      error("it was not refused", 2)
    end
    if not err.message:find(text, 1, true) then
      error(("refused with %q, not with %q"):format(err.message, text), 2)
    end
    return err
  end

  -- ---- reads ----
  function t.get(_, resource, ns, name)
    return world.get(resource, ns, name)
  end

  -- options: namespace, selector (labels that must be equal)
  function t.list(_, resource, options)
    local out = {}
    for _, o in ipairs(world.list(resource, options and options.namespace)) do
      if contains(o.metadata.labels or {}, options and options.selector or {}) then
        out[#out + 1] = o
      end
    end
    return out
  end

  -- Events, of one reason when it is given.
  function t.events(_, reason)
    local out = {}
    for _, e in ipairs(world.list("v1/events")) do
      if not reason or e.reason == reason then
        out[#out + 1] = e
      end
    end
    return out
  end

  function t.warnings()
    return world.warnings()
  end

  -- ---- scripts, time, people ----
  function t.controller(_, path)
    world.controller(path_of(file, path, "controllers", world.scripts))
  end

  function t.admission(_, path)
    world.admission(path_of(file, path, "admission", world.scripts))
  end

  function t.advance(_, seconds)
    world.advance(seconds)
  end

  -- Seconds since 1970 of the world's clock; as the API writes it.
  function t.now()
    return world.now()
  end

  function t.time()
    return neap.time(math.tointeger(world.now() // 1))
  end

  function t.failures()
    return world.failures()
  end

  function t.user(_, name, ...)
    world.user(name, ...)
  end

  -- ---- what a cluster has ----
  function t.namespace(_, name)
    local ns = t:create { apiVersion = "v1", kind = "Namespace", metadata = { name = name } }
    if not world.get("v1/serviceaccounts", name, "default") then -- without it no pod is admitted
      t:create { apiVersion = "v1", kind = "ServiceAccount", metadata = { name = "default", namespace = name } }
    end
    return ns
  end

  function t.node(_, name)
    t:create { apiVersion = "v1", kind = "Node", metadata = { name = name } }
    return t:patch("v1/nodes", nil, name, {
      status = { conditions = { { type = "Ready", status = "True", lastTransitionTime = t:time() } } },
    }, "status")
  end

  local address = 0

  local function run(pod)
    address = address + 1
    local now = t:time()
    t:patch("v1/pods", pod.metadata.namespace, pod.metadata.name, {
      status = {
        phase = "Running", podIP = ("10.244.%d.%d"):format(address // 250, address % 250 + 1), startTime = now,
        conditions = { { type = "Ready", status = "True", lastTransitionTime = now } },
      },
    }, "status")
  end

  -- A kubelet for everything: pending pods run and are ready, those that are being deleted go. Until nothing is
  -- left to do. options: namespace, selector, rounds (1: one pass over the pods that are there).
  function t:kubelet(options)
    for _ = 1, options and options.rounds or 100 do
      local busy = false
      for _, pod in ipairs(self:list("v1/pods", options)) do
        if pod.metadata.deletionTimestamp then
          self.try:delete("v1/pods", pod.metadata.namespace, pod.metadata.name, { grace = 0 })
          busy = true
        elseif pod.status.phase == "Pending" then
          run(pod)
          busy = true
        end
      end
      if not busy then
        return
      end
    end
  end

  -- ---- judging ----
  function t.ok(_, value, why)
    if not value then
      error(why or "it is not so", 2)
    end
    return value
  end

  function t.equal(_, have, want, what)
    if not neap.equal(have == nil and neap.null or have, want == nil and neap.null or want) then
      error(("%s%s, not %s"):format(what and what .. ": " or "", show(have), show(want)), 2)
    end
  end

  -- The object has at least this.
  function t.has(_, have, want, what)
    if not contains(have, want) then
      error(("%s%s has not %s"):format(what and what .. ": " or "", show(have), show(want)), 2)
    end
  end

  -- f raises an error that holds <text>.
  function t.raises(_, text, f)
    local fine, err = pcall(f)
    if fine or not tostring(err):find(text, 1, true) then
      error(fine and "it raised nothing" or ("it raised %q"):format(tostring(err)), 2)
    end
  end

  for _, name in ipairs { "default", "kube-system", "kube-public", "kube-node-lease" } do
    t:namespace(name)
  end
  return t
end
