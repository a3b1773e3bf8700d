-- Takes the right to replace a value that is still good, by a lease beside it.
-- KEYS  entry, root, token…, the place beside the entry
-- ARGV  incarnation, nonce, ms that the lease lasts, ms that tokens live at least, id of the value, the stamp's half of other
--       partitions, if it has one
-- Answers 'F' (fence first), 'Q' (quarantined), 'G' (the value is gone), 'W' stamp id ms (another lease, and how long it lasts), or the lease.
local beside = KEYS[#KEYS]
local tokens = tokens_at(2, #KEYS - 1)
if is_foreign(tokens[1], ARGV[1]) then return 'F' end
local head = head_of(KEYS[1])
if kind_of(head) == 'Q' or any_held(tokens) then return 'Q' end

local stamp = stamp_of(tokens, ARGV[6])
if not is_value(head) or string.sub(head, 2, 33) ~= stamp or string.sub(head, 34, 65) ~= ARGV[5] then return 'G' end
local other = head_of(beside)
if is_lease(other) and string.sub(other, 2, 33) == stamp then return waiting(other, beside) end

local lease = 'L' .. stamp .. ids(ARGV[2])('lease')
redis.call('SET', beside, lease, 'PX', ARGV[3])
extend(3, #KEYS - 1, tonumber(ARGV[4]))
return lease
