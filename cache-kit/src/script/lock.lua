-- KEYS  lock, queue, who in the queue still waits, fence
-- ARGV  who, milliseconds that it lasts, milliseconds that a place in the queue lasts (0: does not wait), a fence that who asks has seen
-- Answers 1 and the fence, or 0 and the milliseconds until the lock lapses.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 32) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return { 1, string.sub(held, 33) }
end
-- Who has not asked for a while has gone, or died.
local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
while first do
  local until_then = tonumber(redis.call('HGET', KEYS[3], first) or 0)
  if until_then >= now then break end
  redis.call('ZREM', KEYS[2], first)
  redis.call('HDEL', KEYS[3], first)
  first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
end
if not held and (not first or first == ARGV[1]) then
  -- The time is above every fence before, also where the counter was lost.
  local fence = math.max(tonumber(redis.call('GET', KEYS[4]) or 0) + 1, now, tonumber(ARGV[4]) + 1)
  fence = string.format('%.0f', fence)
  redis.call('SET', KEYS[4], fence, 'PX', 86400000)
  redis.call('SET', KEYS[1], ARGV[1] .. fence, 'PX', ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
  return { 1, fence }
end
if ARGV[3] ~= '0' then
  redis.call('ZADD', KEYS[2], 'NX', now, ARGV[1])
  redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', now + ARGV[3] * 1000))
  redis.call('PEXPIRE', KEYS[2], 60000)
  redis.call('PEXPIRE', KEYS[3], 60000)
end
-- Where it is free, it is for the first in the queue, who asks soon.
return { 0, held and math.max(redis.call('PTTL', KEYS[1]), 0) or 20 }
