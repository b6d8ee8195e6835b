puts 'at load'
raise 'not today'
