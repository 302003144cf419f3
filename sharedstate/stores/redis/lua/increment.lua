-- KEYS: counter. ARGV: delta, initial, timeout in ms, minimum, maximum.
local number, wrong = increment(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return number or redis.error_reply(wrong)
