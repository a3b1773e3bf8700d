-- Makes tokens live as long as a value that is stored under them in another partition.
-- KEYS  token…
-- ARGV  ms that they live
for i = 1, #KEYS do
  -- A quarantine ends when its holders have said.
  if redis.pcall('GETRANGE', KEYS[i], 0, 0) == 'T' then extend(i, i, tonumber(ARGV[1])) end
end
return 1
