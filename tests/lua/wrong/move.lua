-- tests/lua/wrong/move.lua:2: too many elements to move
table.move({}, 1, 1 << 50, 2)
