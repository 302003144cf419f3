-- KEYS: token, counter. ARGV: those of increment, then the fingerprint and its lifetime in ms.
-- Returns what the token's record holds, and 1 if that is a former call's.
local memo = redis.call('GET', KEYS[1])
if memo then
  return {memo, 1}
end
local number, wrong = increment(KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
if not number then
  return redis.error_reply(wrong)
end
memo = number .. ' ' .. ARGV[6]
redis.call('SET', KEYS[1], memo, 'PX', ARGV[7])
return {memo, 0}
