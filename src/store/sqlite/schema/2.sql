-- What a contact has is few: listed in order by sorting, and one index less of which each mint writes a page of its own.
DROP INDEX sessions_by_contact;
