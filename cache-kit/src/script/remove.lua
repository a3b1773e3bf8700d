-- KEYS  record, perhaps the list that it is in
-- ARGV  incarnation of the server, time after which nobody waits for this (0: always), what is expected, who removes it, milliseconds that this is remembered beyond the time that
--       the record still had (a day at most), perhaps its name in the list
-- Answers the incarnation, the time, 1 if it was removed by this call or an earlier one of the same name, and the record that it concerns.
local value = standing(KEYS[1])
local is_removed = 0
local now = microseconds()
if ARGV[2] ~= '0' and now > tonumber(ARGV[2]) then return { ARGV[1], string.format('%.0f', now), -3, '' } end
if string.sub(value, 1, 1) == 'X' and string.sub(value, 2, 33) == ARGV[4] then
  is_removed, value = 1, string.sub(value, 54)
elseif is_record(value) and is_expected(value, ARGV[3]) then
  is_removed = 1
  -- Who remembers the record has not seen it end otherwise until then.
  local left = math.min(math.max(redis.call('PTTL', KEYS[1]), 0), 86400000)
  redis.call('SET', KEYS[1], 'X' .. ARGV[4] .. string.format('%020.0f', now) .. value, 'PX', ARGV[5] + left)
  if KEYS[2] then redis.call('ZREM', KEYS[2], ARGV[6]) end
end
return { ARGV[1], string.format('%.0f', now), is_removed, shown(value) }
