-- tests/lua/wrong/error_table.lua:2: error() with a table: a text is wanted
error({ code = 1 })
