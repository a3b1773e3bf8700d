-- KEYS  record, perhaps the list that it is in
-- ARGV  incarnation of the server, milliseconds that it is kept from now on at least (0: as it is)
-- Answers the incarnation, the time, the milliseconds left, and the record.
local value = standing(KEYS[1])
if is_record(value) and ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  if KEYS[2] and redis.call('PTTL', KEYS[2]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
end
return { ARGV[1], string.format('%.0f', microseconds()), redis.call('PTTL', KEYS[1]), shown(value) }
