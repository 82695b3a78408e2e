-- Every key of this database as one line: name, end (ms since 1970, -1: none) and DUMP's payload, the first and last in
-- hexadecimal. A script runs alone, so the lines are of one moment: a ledger and its balances fit each other.
local function hexadecimal(bytes)
  return (bytes:gsub(".", function(byte) return string.format("%02x", byte:byte()) end))
end

local lines = {}
for _, key in ipairs(redis.call("KEYS", "*")) do
  local ends, payload = redis.call("PEXPIRETIME", key), redis.call("DUMP", key)
  lines[#lines + 1] = hexadecimal(key) .. " " .. ends .. " " .. hexadecimal(payload)
end
table.sort(lines)
return table.concat(lines, "\n")
