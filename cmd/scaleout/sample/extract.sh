#!/bin/sh
# Extract: the raw orders of a day and a region. They are made up, the same ones each time; a tenth of them is broken.
. ./lib.sh

year=${day%%-*}
rest=${day#*-}
month=${rest%%-*}
seed=$((year * 372 + ${month#0} * 31 + $(d=${rest#*-}; echo "${d#0}")))
case $region in
north) seed=$((seed + 1)) ;;
east) seed=$((seed + 2)) ;;
south) seed=$((seed + 3)) ;;
west) seed=$((seed + 4)) ;;
*) fail "Region $region is not one of north, east, south, west" ;;
esac

n=0
{
	echo "order,product,quantity,cents"
	while [ "$n" -lt "$PARAM_ROWS" ]; do
		n=$((n + 1))
		seed=$(((seed * 1103515245 + 12345) % 2147483648))
		case $((seed / 65536 % 4)) in
		0) product=apple ;;
		1) product=bread ;;
		2) product=cheese ;;
		*) product=dates ;;
		esac
		quantity=$((seed / 1024 % 9 + 1))
		[ $((n % 10)) -ne 0 ] || quantity=
		echo "$n,$product,$quantity,$((seed / 256 % 900 + 100))"
	done
} >"$raw"
echo "extracted $n orders of $day, $region"
