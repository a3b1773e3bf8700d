-- The generic cell rate algorithm, and a window that is exact. Both must allow it; only then it counts in both.
-- KEYS  the theoretical arrival time, the times of what was allowed
-- ARGV  cost, microseconds between arrivals, microseconds that may be taken ahead, how many in a window (0: no window), its microseconds
-- Answers 1 if it is allowed, microseconds until it would be, how many of the same cost are left, microseconds until all is free again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, interval, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most, span = tonumber(ARGV[4]), tonumber(ARGV[5])
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) or 0, now)
-- No further ahead than it can be, but where the clock was set back.
if arrival > now + ahead then
  arrival = now + ahead
  redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.ceil(ahead / 1000) + 1)
end
local next = arrival + cost * interval
local wait = math.min(math.max(next - ahead - now, 0), 2 ^ 52)
local left = math.floor((ahead - (arrival - now)) / interval)
local free = arrival - now
local count = 0
if most > 0 then
  -- From the newest to the oldest: what is ahead of the clock, which was set back, counts from now on, and what is behind the window goes.
  count = redis.call('LLEN', KEYS[2])
  for index = 0, count - 1 do
    if tonumber(redis.call('LINDEX', KEYS[2], index)) <= now then break end
    redis.call('LSET', KEYS[2], index, string.format('%.0f', now))
  end
  while count > 0 and tonumber(redis.call('LINDEX', KEYS[2], -1)) <= now - span do
    redis.call('RPOP', KEYS[2])
    count = count - 1
  end
  local over = count + cost - most
  if over > 0 then
    local frees = redis.call('LINDEX', KEYS[2], -over)
    wait = math.max(wait, frees and tonumber(frees) + span - now or span)
  end
  left = math.min(left, most - count)
  if count > 0 then free = math.max(free, tonumber(redis.call('LINDEX', KEYS[2], 0)) + span - now) end
end
if wait > 0 then
  return { 0, string.format('%.0f', wait), math.max(left, 0), string.format('%.0f', free) }
end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
free = next - now
if most > 0 then
  for _ = 1, cost do redis.call('LPUSH', KEYS[2], string.format('%.0f', now)) end
  redis.call('PEXPIRE', KEYS[2], math.ceil(span / 1000) + 1)
  free = math.max(free, span)
end
return { 1, '0', left - cost, string.format('%.0f', free) }
