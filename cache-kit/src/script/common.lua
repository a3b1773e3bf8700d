-- Stands in front of the scripts over records. A record is `R` version (32 bytes) time (20 digits, microseconds) the
-- server's incarnation (16 bytes) bytes; `X` stands where one was removed, with the name of who did, the time (20 digits) and the record, and counts
-- as absent.

local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function is_record(value)
  return string.sub(value, 1, 1) == 'R' and #value >= 69
end

-- What is damaged is a record that nobody can read, of no version, from the beginning of time.
local function standing(key)
  local value = redis.pcall('GET', key)
  if not value then return '' end
  if type(value) ~= 'string' then value = '' end
  if is_record(value) and string.find(string.sub(value, 34, 53), '^%d+$') then return value end
  if string.sub(value, 1, 1) == 'X' and #value >= 53 then return value end
  return 'R' .. string.rep('\0', 32) .. string.rep('0', 20) .. string.rep('\0', 16) .. value
end

-- Without what is in it, where it is no record: `X` for one that was removed.
local function shown(value)
  if is_record(value) then return value end
  return string.sub(value, 1, 1) == 'X' and 'X' or ''
end

-- `*`: whatever is there; `-`: nothing; `<` time: nothing, or what was written or removed before that; else the version.
local function is_expected(value, expected)
  if expected == '*' then return true end
  if not is_record(value) and expected == '-' then return true end
  if string.sub(expected, 1, 1) == '<' then
    local written = tonumber(string.sub(value, 34, 53))
    return not written or written < tonumber(string.sub(expected, 2))
  end
  if not is_record(value) then return false end
  return string.sub(value, 2, 33) == expected
end
