-- KEYS  record, era, perhaps the list that it is in
-- ARGV  incarnation of the server, name of a new era, what is expected, who removes it, milliseconds that this is remembered, perhaps its name in the list
-- Answers the era, the incarnation, the time, 1 if it was removed by this call or an earlier one of the same name, and the record that it concerns.
local value = standing(KEYS[1])
local is_removed = 0
if string.sub(value, 1, 1) == 'X' and string.sub(value, 2, 33) == ARGV[4] then
  is_removed, value = 1, string.sub(value, 34)
elseif is_record(value) and is_expected(value, ARGV[3]) then
  is_removed = 1
  redis.call('SET', KEYS[1], 'X' .. ARGV[4] .. value, 'PX', ARGV[5])
  if KEYS[3] then redis.call('ZREM', KEYS[3], ARGV[6]) end
elseif not is_record(value) then
  value = ''
end
return { era_of(KEYS[2], ARGV[2]), ARGV[1], string.format('%.0f', microseconds()), is_removed, value }
