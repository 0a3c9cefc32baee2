-- luacheck: scripts see the sandbox's globals (scripts/neap.d.lua) and nothing else.
std = "lua54"
globals = {}
read_globals = { "neap" }
max_line_length = 140
files["**/*_test.lua"] = { read_globals = { "test" } }
files["scripts/neap.d.lua"] = { globals = { "neap", "test" }, ignore = { "212", "241", "431", "631" } }
exclude_files = { "tests/lua/wrong" }
