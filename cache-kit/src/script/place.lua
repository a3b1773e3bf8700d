-- KEYS  the points
-- ARGV  `+` longitude latitude name …, or `-` names, or `?` longitude latitude metres count
-- More than the count are found where the last ones are at the same distance: Redis has no order among those.
if ARGV[1] == '+' then
  return redis.call('GEOADD', KEYS[1], unpack(ARGV, 2))
elseif ARGV[1] == '-' then
  return redis.call('ZREM', KEYS[1], unpack(ARGV, 2))
end
local count = tonumber(ARGV[5])
local asked = count + 1
while true do
  local found = redis.call('GEOSEARCH', KEYS[1], 'FROMLONLAT', ARGV[2], ARGV[3], 'BYRADIUS', ARGV[4], 'm', 'ASC',
    'COUNT', string.format('%.0f', asked), 'WITHDIST', 'WITHCOORD')
  if #found < asked or found[asked][2] - found[count][2] > 0.001 then return found end
  asked = asked * 2
end
