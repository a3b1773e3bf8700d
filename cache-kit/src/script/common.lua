-- Stands in front of the scripts over records. A record is `R` version (32 bytes) time (20 digits, microseconds) the
-- server's incarnation (16 bytes) bytes; `X` stands
-- where one was taken, with the name of who took it, and counts as absent.

local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Names the life of these data: another one means that they were lost.
local function era_of(key, new)
  local era = redis.call('GET', key)
  if era then return era end
  local set = redis.pcall('SET', key, new)
  return (type(set) == 'table' and set.err) and '' or new
end

local function standing(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or ''
end

local function is_record(value)
  return string.sub(value, 1, 1) == 'R' and #value >= 69
end

-- `*`: whatever is there; `-`: nothing; `<` time: nothing, or what was written before that; else the version.
local function is_expected(value, expected)
  if expected == '*' then return true end
  if not is_record(value) then return expected == '-' or string.sub(expected, 1, 1) == '<' end
  if string.sub(expected, 1, 1) == '<' then
    return tonumber(string.sub(value, 34, 53)) < tonumber(string.sub(expected, 2))
  end
  return string.sub(value, 2, 33) == expected
end
