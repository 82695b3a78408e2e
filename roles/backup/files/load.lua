-- Put the lines of dump.lua (ARGV[1]) in the place of everything in this database; returns how many keys there are.
local function bytes(digits)
  return (digits:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local count = 0
redis.call("FLUSHDB")
for name, ends, payload in ARGV[1]:gmatch("(%x+) (%-?%d+) (%x+)") do
  if ends == "-1" then
    redis.call("RESTORE", bytes(name), 0, bytes(payload))
  else
    redis.call("RESTORE", bytes(name), ends, bytes(payload), "ABSTTL")
  end
  count = count + 1
end
return count
