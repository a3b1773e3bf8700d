-- Moves the simulation's clock and lets go what is due.
redis.call('SET', 'sim:now', ARGV[1])
local due = redis.call('ZRANGEBYSCORE', 'sim:due', '-inf', ARGV[1])
if #due > 0 then
  redis.call('UNLINK', unpack(due))
  redis.call('ZREM', 'sim:due', unpack(due))
end
return 1
