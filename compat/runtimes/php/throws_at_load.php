<?php

echo "at load\n";
throw new RuntimeException('not today');
