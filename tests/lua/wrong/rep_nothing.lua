-- rep gave 0
error("rep gave " .. #(""):rep(1 << 60))
