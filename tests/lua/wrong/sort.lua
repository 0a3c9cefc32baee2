-- more than 250000 elements to sort
local t = {}
for i = 1, 250001 do
  t[i] = i
end
table.sort(t)
