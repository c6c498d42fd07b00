#!/bin/sh
# Load: the sales of the day by product. Loading twice gives the same file.
. ./lib.sh

[ -f "$clean" ] || fail "there is no $clean: run transform.sh for $day and $region first"
apple=0
bread=0
cheese=0
dates=0
{
	read -r head
	while IFS=, read -r order product amount; do
		case $product in
		apple) apple=$((apple + amount)) ;;
		bread) bread=$((bread + amount)) ;;
		cheese) cheese=$((cheese + amount)) ;;
		dates) dates=$((dates + amount)) ;;
		esac
	done
} <"$clean"
{
	echo "day,region,product,cents"
	for product in apple bread cheese dates; do
		eval "amount=\$$product"
		echo "$day,$region,$product,$amount"
	done
} >"$sales"
echo "loaded sales of $((apple + bread + cheese + dates)) cents into $sales"
