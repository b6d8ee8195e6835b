def main(_args)
  [1, 'two', { three: 3 }]
end
