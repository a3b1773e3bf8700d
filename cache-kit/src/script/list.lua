-- KEYS  list, records that were not there
-- ARGV  how many at most, the names of these records in the list
-- Answers the names, from the oldest on.
for index = 2, #ARGV do
  -- It may have been written since.
  local value = redis.pcall('GETRANGE', KEYS[index], 0, 0)
  if value == '' or value == 'X' then redis.call('ZREM', KEYS[1], ARGV[index]) end
end
return redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)
