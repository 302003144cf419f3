-- KEYS: the keys. Returns the value and the lifetime in ms of each, as GET and PTTL do.
local found = {}
for i, key in ipairs(KEYS) do
  found[2 * i - 1] = redis.call('GET', key)
  found[2 * i] = redis.call('PTTL', key)
end
return found
