-- Stores a value under its lease, if nothing has invalidated the lease.
-- KEYS  entry, root, token…
-- ARGV  the lease, the value, ms that it lives, ms that its tokens live, the stamp's half of other partitions, if it has one
-- Answers 1 (stored) or 0 (refused).
local head = head_of(KEYS[1])
-- Sent again after it had worked.
if is_value(head) and string.sub(head, 2, 65) == string.sub(ARGV[1], 2) then return 1 end
-- The race that this closes: an invalidation comes between the load's read of the source and its fill. It removed the
-- lease, or a token that is part of the lease's stamp.
if head ~= ARGV[1] then return 0 end
if stamp_of(tokens_at(2, #KEYS), ARGV[5]) ~= string.sub(ARGV[1], 2, 33) then
  redis.call('UNLINK', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
-- By the stamp they are tokens, and none is a quarantine. After the value: no token lives longer for one that was refused.
extend(3, #KEYS, tonumber(ARGV[4]))
return 1
