-- Several operations in their order, all of them or none.
-- KEYS: the records. ARGV: for each operation its name, the position of its key, how many
-- arguments follow, and these. A key that holds another type is found before anything is written;
-- if one of them fails, what the ones before it changed is put back.
local saved, order = {}, {}

-- Returns whether the key holds a string or nothing.
local function save(key)
  if saved[key] == nil then
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then
      return false
    end
    saved[key] = {value, redis.call('PTTL', key)}
    order[#order + 1] = key
  end
  return true
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
local position = 1
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
  if not save(operation.key) then
    return redis.error_reply('WRONGTYPE in operation ' .. step)
  end
end

local answers = {}
for step, operation in ipairs(operations) do
  local answer, wrong = functions[operation.name](operation.key, unpack(operation))
  if not answer then
    put_back()
    return redis.error_reply(wrong .. ' in operation ' .. step)
  end
  answers[step] = answer
end
return answers
