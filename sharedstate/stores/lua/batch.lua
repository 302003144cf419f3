-- Several operations in their order, all of them or none.
-- KEYS: the records. ARGV: for each operation its name, the position of its key, how many
-- arguments follow, and these. If one fails, what the ones before it changed is put back.
local saved, order = {}, {}

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

local operations = {
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

local answers = {}
local position = 1
while position <= #ARGV do
  local name, key = ARGV[position], KEYS[tonumber(ARGV[position + 1])]
  local count = tonumber(ARGV[position + 2])
  local arguments = {}
  for i = 1, count do
    arguments[i] = ARGV[position + 2 + i]
  end
  save(key)
  local answer, wrong = operations[name](key, unpack(arguments))
  if not answer then
    put_back()
    return redis.error_reply(wrong .. ' in operation ' .. (#answers + 1))
  end
  answers[#answers + 1] = answer
  position = position + 3 + count
end
return answers
