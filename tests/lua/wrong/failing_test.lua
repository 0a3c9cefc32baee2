-- tests/lua/wrong/failing_test.lua:3: 1, not 2
test("fails", function(t)
  t:equal(1, 2)
end)
