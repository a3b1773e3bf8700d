-- Looks at the tokens that an entry of another partition is under, before it is filled, and makes them live as long as it.
-- KEYS  root, token…
-- ARGV  ms that they live
-- Answers the root and the tokens; who asked knows what they should be.
local tokens = tokens_at(1, #KEYS)
for i = 2, #tokens do
  -- A quarantine ends when its holders have said.
  if is_token(tokens[i]) then extend(i, i, tonumber(ARGV[1])) end
end
return tokens
