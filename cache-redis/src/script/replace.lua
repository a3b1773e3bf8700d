-- Stores a value in the place of the very value that its lease was taken beside.
-- KEYS  entry, root, token…, the place beside the entry
-- ARGV  the lease, the value, ms that it lives, ms that its tokens live, id of the value that it replaces, the
--       stamp's half of other partitions, if it has one
-- Answers 1 (stored) or 0 (refused).
local beside = KEYS[#KEYS]
local head = head_of(KEYS[1])
-- Sent again after it had worked.
if is_value(head) and string.sub(head, 2, 65) == string.sub(ARGV[1], 2) then return 1 end
if head_of(beside) ~= ARGV[1] then return 0 end
redis.call('UNLINK', beside)
if not is_value(head) or string.sub(head, 34, 65) ~= ARGV[5] then return 0 end
if stamp_of(tokens_at(2, #KEYS - 1), ARGV[6]) ~= string.sub(ARGV[1], 2, 33) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
extend(3, #KEYS - 1, tonumber(ARGV[4]))
return 1
