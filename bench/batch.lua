-- For wrk: like post.lua, with 1,000 increments of one counter in each request.
dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "post.lua")

wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"operations":[' .. string.rep('{"op":"inc","key":"bench"}', 1000, ",") .. "]}"
