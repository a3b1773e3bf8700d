-- KEYS  the points
-- ARGV  `+` longitude latitude name …, or `-` names, or `?` longitude latitude metres count
if ARGV[1] == '+' then
  return redis.call('GEOADD', KEYS[1], unpack(ARGV, 2))
elseif ARGV[1] == '-' then
  return redis.call('ZREM', KEYS[1], unpack(ARGV, 2))
end
return redis.call('GEOSEARCH', KEYS[1], 'FROMLONLAT', ARGV[2], ARGV[3], 'BYRADIUS', ARGV[4], 'm', 'ASC', 'COUNT', ARGV[5],
  'WITHDIST', 'WITHCOORD')
