#!/bin/sh
# Transform: an order without a quantity is dropped, of the others the amount is worked out.
. ./lib.sh

[ -f "$raw" ] || fail "there is no $raw: run extract.sh for $day and $region first"
kept=0
dropped=0
{
	read -r head
	echo "order,product,amount"
	while IFS=, read -r order product quantity cents; do
		if [ -z "$quantity" ]; then
			dropped=$((dropped + 1))
			continue
		fi
		kept=$((kept + 1))
		echo "$order,$product,$((quantity * cents))"
	done
} <"$raw" >"$clean"
echo "kept $kept orders, dropped $dropped"
