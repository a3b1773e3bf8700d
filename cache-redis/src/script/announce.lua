-- Tells those who keep values in memory of their own what is invalid.
-- KEYS  a key that never exists, registry, number of the last announcement
-- ARGV  incarnation, name of a registry that is made here, '1' if there have been members to the caller's knowledge, channel,
--       the announcement
-- Answers 0 (there is nobody), why it is not done, or: '1' if all who may serve are in the registry, '1' if it was
-- published, its number, the registry's name, then each member and its number.
local function announce()
  local members = redis.pcall('HGETALL', KEYS[2])
  if not members.err and #members == 0 and ARGV[3] == '0' then return 0 end
  local name, is_complete = registry(KEYS[2], ARGV[1])
  if is_complete and #members == 2 then return 0 end

  -- First, so that the rest works where memory is full.
  redis.call('UNLINK', KEYS[1])
  if not name then
    redis.call('UNLINK', KEYS[2])
    name, members = ARGV[2], {}
    note(KEYS[2], ARGV[1], '?', name)
  end
  last_of(KEYS[3])
  -- Before it is published: where that is refused, members find the number changed and nothing that goes with it.
  local number = string.format('%.0f', redis.call('INCR', KEYS[3]))
  local published = redis.pcall('PUBLISH', ARGV[4], number .. ' ' .. ARGV[5])
  local answer = { is_complete and '1' or '0', type(published) == 'number' and '1' or '0', number, name }
  for i = 1, #members, 2 do
    if members[i] ~= '#' then
      answer[#answer + 1] = members[i]
      answer[#answer + 1] = members[i + 1]
    end
  end
  return answer
end

-- What was invalidated with the same pipeline is invalid, whatever becomes of this.
local is_done, answer = pcall(announce)
if is_done then return answer end
return type(answer) == 'table' and answer.err or tostring(answer)
