-- Removes entries and tokens, except those in quarantine: there is nothing to serve from them.
-- KEYS  a key that never exists, then the targets
-- The first key makes this a write whatever the targets are, so that a replica refuses it and only a primary's word counts.
redis.call('UNLINK', KEYS[1])
for i = 2, #KEYS do
  if redis.pcall('GETRANGE', KEYS[i], 0, 0) ~= 'Q' then redis.call('UNLINK', KEYS[i]) end
end
return 1
