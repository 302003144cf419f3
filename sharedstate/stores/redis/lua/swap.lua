-- Compare-and-swap. KEYS: the key. ARGV: whether a value is expected, the expected value, whether
-- there is a new one, the new value, its timeout in ms (-1 keeps the expiry), and the timeout of
-- one that this creates although it is -1. Returns whether it swapped, and the value it found.
local key, timeout = KEYS[1], ARGV[5]
local found = redis.call('GET', key)
local expected = ARGV[1] == '1' and ARGV[2]
if found ~= expected then
  return {0, found}
end
if ARGV[3] == '0' then
  redis.call('DEL', key)
elseif timeout ~= '-1' then
  put(key, ARGV[4], timeout)
elseif found then
  redis.call('SET', key, ARGV[4], 'KEEPTTL')
else
  put(key, ARGV[4], ARGV[6])
end
return {1, found}
