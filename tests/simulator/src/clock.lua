-- Stands in front of every script: time is the simulation's, so that a lease lapses when the schedule says so and not when
-- the machine is busy. Deadlines are kept in a sorted set; what is due goes before the next command.
local real = redis
local redis = (function()
  local function now() return tonumber(real.call('GET', 'sim:now')) or 0 end
  local function run(call, name, key, ...)
    local command = string.upper(name)
    if command == 'TIME' then
      local ms = now()
      return { tostring(math.floor(ms / 1000)), tostring((ms % 1000) * 1000) }
    elseif command == 'SET' then
      local given, kept, ttl, i = { ... }, {}, nil, 2
      while i <= #given do
        local option = string.upper(given[i])
        if option == 'PX' then ttl = tonumber(given[i + 1]); i = i + 1
        elseif option == 'PXAT' then ttl = tonumber(given[i + 1]) - now(); i = i + 1
        elseif option == 'NX' or option == 'XX' then kept[#kept + 1] = option
        else error('the simulation does not know SET ' .. option) end
        i = i + 1
      end
      local reply = call('SET', key, given[1], unpack(kept))
      if type(reply) == 'table' and reply.ok then
        if ttl then real.call('ZADD', 'sim:due', now() + ttl, key) else real.call('ZREM', 'sim:due', key) end
      end
      return reply
    elseif command == 'PEXPIRE' or command == 'PEXPIREAT' then
      if real.call('EXISTS', key) == 0 then return 0 end
      local at = tonumber((...))
      real.call('ZADD', 'sim:due', command == 'PEXPIRE' and now() + at or at, key)
      return 1
    elseif command == 'PTTL' then
      if real.call('EXISTS', key) == 0 then return -2 end
      local due = real.call('ZSCORE', 'sim:due', key)
      return due and tonumber(due) - now() or -1
    elseif command == 'PUBLISH' then
      -- Who hears it, and when, is up to the simulation. What is refused is heard by nobody.
      if real.call('EXISTS', 'sim:mute') == 1 then return call('NOSUCHCOMMAND') end
      real.call('RPUSH', 'sim:published', key, (...))
      return 0
    elseif string.find(command, 'EXPIRE') or command == 'TTL' or command == 'GETEX' or command == 'SETEX' then
      error('the simulation does not know ' .. command)
    end
    return call(name, key, ...)
  end
  return setmetatable({
    call = function(...) return run(real.call, ...) end,
    pcall = function(...) return run(real.pcall, ...) end,
  }, { __index = real })
end)()
