-- What one call says of the circuit of its provider, or asks of it, in one go.
--
-- KEYS: the circuit, a hash; there is none while nothing has failed.
-- ARGV: now, or nothing; what is said (see below); the prober's token, or nothing; the name of
-- an error; threshold; cool-down; seconds that a probe may take; seconds to keep it.
-- Answers: whether the caller may probe; failures; seconds left, or nothing for a closed one;
-- seconds that somebody may still probe, or 0; whether it has opened by this; the last error.

local now = tonumber(ARGV[1])
local said, token, failed_by = ARGV[2], ARGV[3], ARGV[4]
local threshold, cooldown = tonumber(ARGV[5]), tonumber(ARGV[6])
local lease, keep = tonumber(ARGV[7]), tonumber(ARGV[8])

if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local known = redis.call('HMGET', KEYS[1], 'failures', 'opened', 'until', 'prober', 'error')
local failures, opened = tonumber(known[1]) or 0, tonumber(known[2])
local probed_until, prober, last = tonumber(known[3]) or 0, known[4], known[5] or ''
-- A probe that took too long, but that nobody has replaced, is still one.
local mine = token ~= '' and prober == token
local granted, opens, changed = 0, 0, false

-- By the clock of another server, or one that was put back: it counts from now.
if opened and opened > now then opened, changed = now, true end
if probed_until > now + lease then probed_until, changed = now + lease, true end

local function free()
  probed_until, prober = 0, false
end

if said == 'probe' then
  if opened and probed_until <= now and opened + cooldown <= now then
    granted, probed_until, prober, changed = 1, now + lease, token, true
  end
elseif said == 'failed' then
  failures, last, changed = failures + 1, failed_by, true
  -- One that was under way when it opened says nothing new.
  if mine or (not opened and failures >= threshold) then
    opened, opens = now, 1
    free()
  end
elseif said == 'well' then
  -- An answer to a call from before the circuit opened is not enough.
  if (mine or not opened) and failures > 0 then
    failures, opened, changed = 0, nil, true
    free()
  end
elseif said == 'left' then
  if mine then
    changed = true
    free()
  end
end

if changed then
  redis.call('DEL', KEYS[1])
  if failures > 0 then
    redis.call('HSET', KEYS[1], 'failures', failures, 'error', last)
    if opened then
      redis.call('HSET', KEYS[1], 'opened', string.format('%.6f', opened))
    end
    if prober then
      redis.call(
        'HSET', KEYS[1], 'until', string.format('%.6f', probed_until), 'prober', prober)
    end
    redis.call('PEXPIRE', KEYS[1], math.ceil(keep * 1000))
  end
end

local left, probing = '', 0
if opened then
  left = string.format('%.6f', opened + cooldown - now)
  probing = string.format('%.6f', math.max(probed_until - now, 0))
end
return { granted, failures, left, probing, opens, last }
