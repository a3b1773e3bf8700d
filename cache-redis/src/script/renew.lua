-- Keeps a lease for longer.
-- KEYS  where the lease is
-- ARGV  the lease, ms from now
-- Answers 1, or 0 if it is gone.
if head_of(KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
