-- KEYS: the key. ARGV: its new lifetime in ms, 0 for ever. Returns whether it is there.
if ARGV[1] ~= '0' then
  return redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
redis.call('PERSIST', KEYS[1])
return redis.call('EXISTS', KEYS[1])
