-- a number that JSON does not have
return { neap.hash({ 0 / 0 }) }
