-- Creates those that are missing of the tokens that an entry of another partition is under, before its ACQUIRE.
-- KEYS  root, token…
-- ARGV  incarnation, nonce, ms that tokens live at first
-- Answers 'F' (fence first), 'Q' (quarantined), or the root and the tokens.
local tokens = tokens_at(1, #KEYS)
if is_foreign(tokens[1], ARGV[1]) then return 'F' end
if any_held(tokens) then return 'Q' end
complete(tokens, 1, ARGV[1], ids(ARGV[2]), tonumber(ARGV[3]))
extend(2, #KEYS, tonumber(ARGV[3]))
return tokens
