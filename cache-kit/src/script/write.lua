-- KEYS  record, perhaps the list that it is in, whose name is that of its records with `#` for theirs in the list
-- ARGV  incarnation of the server, time after which nobody waits for this (0: always), what is expected, version, milliseconds, bytes, perhaps its
--       name in the list
-- Answers the incarnation, the time, the milliseconds left, and what stands there now.
local value = standing(KEYS[1])
local now = microseconds()
-- It was under way for so long that something newer may have been written.
if ARGV[2] ~= '0' and now > tonumber(ARGV[2]) then return { ARGV[1], string.format('%.0f', now), -3, '' } end
-- Sent again: it was written already.
local is_done = is_record(value) and string.sub(value, 2, 33) == ARGV[4]
if not is_done and is_expected(value, ARGV[3]) then
  value = 'R' .. ARGV[4] .. string.format('%020.0f', now) .. ARGV[1] .. ARGV[6]
  redis.call('SET', KEYS[1], value, 'PX', ARGV[5])
  if KEYS[2] then
    -- Of any three names, those of records that have ended go: the list does not grow by them.
    for _, name in ipairs(redis.call('ZRANDMEMBER', KEYS[2], 3)) do
      local first = redis.pcall('GETRANGE', string.sub(KEYS[2], 1, -2) .. name, 0, 0)
      if first == '' or first == 'X' then redis.call('ZREM', KEYS[2], name) end
    end
    redis.call('ZADD', KEYS[2], now, ARGV[7])
    if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
  end
end
return { ARGV[1], string.format('%.0f', now), redis.call('PTTL', KEYS[1]), shown(value) }
