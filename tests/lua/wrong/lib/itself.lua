-- A module that is its own.
return require("itself")
