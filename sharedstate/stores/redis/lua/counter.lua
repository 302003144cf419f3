-- What the scripts that change a counter share. Lua's numbers are doubles, which lose 64-bit
-- integers past 2^53, so INCRBY does the sum and decimal text is compared as text.

local function less(a, b)
  local negative_a, negative_b = a:sub(1, 1) == '-', b:sub(1, 1) == '-'
  if negative_a ~= negative_b then
    return negative_a
  end
  if negative_a then
    a, b = b:sub(2), a:sub(2)
  end
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

-- Stores a value that lives for `timeout` milliseconds, 0 for ever.
local function put(key, value, timeout)
  if timeout == '0' then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'PX', timeout)
  end
end

-- Adds to a counter within its bounds. Returns the new number, or false and what is wrong with
-- the key as it was found.
local function increment(key, delta, initial, timeout, minimum, maximum)
  local before = redis.pcall('GET', key)
  if type(before) == 'table' and before.err then
    return false, 'NotACounter'
  end
  if not before then
    put(key, initial, timeout)
  end
  local sum = redis.pcall('INCRBY', key, delta)
  local wrong
  if type(sum) == 'table' and sum.err then
    wrong = sum.err:find('overflow') and 'OutOfBounds' or 'NotACounter'
  else
    local after = redis.call('GET', key)
    if not less(after, minimum) and not less(maximum, after) then
      return after
    end
    wrong = 'OutOfBounds'
  end
  if before then
    redis.call('SET', key, before, 'KEEPTTL')
  else
    redis.call('DEL', key)
  end
  return false, wrong
end
