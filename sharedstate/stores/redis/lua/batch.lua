-- Several operations in their order, all of them or none.
-- KEYS: the records. ARGV: how long the values may be together that are returned, -1 for any
-- length; then for each operation its name, the position of its key, how many arguments follow,
-- and these. A key that holds another type is found before anything is written; if one of them
-- fails, what the ones before it changed is put back.
local saved, order = {}, {}
local max_bytes, returned = tonumber(ARGV[1]), 0

local function holds_another_type(key)
  local kind = redis.call('TYPE', key).ok
  return kind ~= 'string' and kind ~= 'none'
end

local function save(key)
  if saved[key] == nil then
    saved[key] = {redis.call('GET', key), redis.call('PTTL', key)}
    order[#order + 1] = key
  end
end

local function put_back()
  for _, key in ipairs(order) do
    local value, lifetime = saved[key][1], saved[key][2]
    if not value then
      redis.call('DEL', key)
    elseif lifetime < 0 then
      redis.call('SET', key, value)
    else
      redis.call('SET', key, value, 'PX', math.max(lifetime, 1))
    end
  end
end

local functions = {
  Get = function(key)
    returned = returned + redis.call('STRLEN', key)
    if max_bytes >= 0 and returned > max_bytes then
      return false, 'ResultTooLarge'
    end
    return {redis.call('GET', key), redis.call('PTTL', key)}
  end,
  Put = function(key, value, timeout)
    put(key, value, timeout)
    return 1
  end,
  Remove = function(key)
    return redis.call('DEL', key)
  end,
  Increment = increment,
}

local operations = {}
local position = 2
while position <= #ARGV do
  local operation = {name = ARGV[position], key = KEYS[tonumber(ARGV[position + 1])]}
  local count = tonumber(ARGV[position + 2])
  for i = 1, count do
    operation[i] = ARGV[position + 2 + i]
  end
  operations[#operations + 1] = operation
  position = position + 3 + count
end

for step, operation in ipairs(operations) do
  if holds_another_type(operation.key) then
    return redis.error_reply('WRONGTYPE in operation ' .. step)
  end
end

local results = {}
for step, operation in ipairs(operations) do
  if operation.name ~= 'Get' then
    save(operation.key)
  end
  local result, wrong = functions[operation.name](operation.key, unpack(operation))
  if not result then
    put_back()
    return redis.error_reply(wrong .. ' in operation ' .. step)
  end
  results[step] = result
end
return results
