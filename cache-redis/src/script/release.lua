-- Gives a lease back.
-- KEYS  where the lease is
-- ARGV  the lease
if head_of(KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
